"""Files that commands refuse to read."""

import os


def irregular(path, content):
    """Make a FIFO, a link to a device, a folder or a link to a file, as `content` says."""
    if content == "FIFO":
        os.mkfifo(path)
    elif content == "device":
        path.symlink_to("/dev/zero")
    elif content == "folder":
        path.mkdir()
    else:
        path.symlink_to(__file__)
