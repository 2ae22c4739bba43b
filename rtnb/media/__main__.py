"""``python -m rtnb.media``: the media process; started by rtnb, not by hand."""

from __future__ import annotations

from rtnb.media.host import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
