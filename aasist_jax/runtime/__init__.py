"""Services that every program needs: devices, memory, files, messages, progress, downloads."""
