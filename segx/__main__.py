"""`python -m segx`."""

from segx.cli import main

main()
