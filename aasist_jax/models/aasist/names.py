"""The names that the official PyTorch checkpoints give to the layers of AASIST."""

from aasist_jax.models.family import CheckpointNames

_TORCH_NAMES = {
    "encoder/front_end/bn": "first_bn",
    "gat_s": "GAT_layer_S",
    "gat_t": "GAT_layer_T",
    "pool_s": "pool_S",
    "pool_t": "pool_T",
    **{f"htrg{i}": f"HtrgGAT_layer_ST{i}" for i in (11, 12, 21, 22)},
    **{f"pool_h{kind}{b}": f"pool_h{kind.upper()}{b}" for kind in "st" for b in (1, 2)},
    **{f"encoder/block{i + 1}": f"encoder.{i}.0" for i in range(6)},
}


def _torch_module(path: str) -> str:
    for prefix, name in _TORCH_NAMES.items():
        if path == prefix or path.startswith(prefix + "/"):
            return (name + path[len(prefix) :]).replace("/", ".")
    return path.replace("/", ".")


def _torch_parameter(name: str) -> str:
    return {"pos_s": "pos_S"}.get(name, name)


NAMES = CheckpointNames(_torch_module, _torch_parameter)
