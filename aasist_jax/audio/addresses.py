"""Messages for addresses such as https://...: nothing is read from there, and the message says how to get the file."""

import re
import shlex
from urllib.parse import unquote

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://?(?P<rest>.+)", re.IGNORECASE | re.DOTALL)
_DOWNLOADED = ("http", "https", "ftp", "ftps", "sftp")
_STREAMED = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "mms")
_OTHER_ADDRESSES = ("file", "hf", "s3", "gs")


def address_advice(name: str) -> str:
    """The message for the address of a recording, which says how to get it; '' for anything that is no address.

    An address with one slash, `https:/host/file`, counts as well: that is what is left of one that became a path.
    """
    match = _ADDRESS.fullmatch(name)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in (*_DOWNLOADED, *_STREAMED, *_OTHER_ADDRESSES):
        return ""
    rest = match["rest"]
    address = f"{scheme}://{'/' + rest.lstrip('/') if scheme == 'file' else rest}"
    shown = address if address.isprintable() else repr(address)
    if scheme == "file":
        return f"{shown}: give the path instead of an address, {shlex.quote('/' + unquote(rest).lstrip('/'))}"
    file = shlex.quote(re.split(r"[?#]", rest)[0].rstrip("/").rpartition("/")[2] or "recording")
    quoted = shlex.quote(address)
    if scheme == "hf":
        owner, _, inside = rest.partition("/")
        name, _, path = inside.partition("/")
        way = f"`hf download {shlex.quote(f'{owner}/{name}')} {shlex.quote(path)}`".replace(" ''", " FILE")
    else:
        way = {
            "s3": f"`aws s3 cp {quoted} {file}`",
            "gs": f"`gcloud storage cp {quoted} {file}`",
            **dict.fromkeys(_DOWNLOADED, f"`curl -fLo {file} {quoted}`"),
            **dict.fromkeys(_STREAMED, f"`ffmpeg -i {quoted} -t 60 call.wav` (a minute of it)"),
        }[scheme]
    return f"{shown}: recordings are read from files and not from addresses; get it first, with {way}"
