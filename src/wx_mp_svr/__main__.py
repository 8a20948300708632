"""``python -m wx_mp_svr``: the command line, where its script is not on the PATH."""

from .desk.cli import main

if __name__ == "__main__":
    main()
