"""How far a program is, on stderr: as a bar on a terminal, else line by line."""

import os
import sys


class Bar:
    def __init__(self):
        self.on_terminal = sys.stderr.isatty()
        self.last = None

    def show(self, text, part):
        """Shows a text, and a bar of which so big a part is done."""
        if self.on_terminal:
            # A terminal that was not given a width has 0. In the last column a character would make some go to the next line.
            width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
            room = max(0, width - len(text) - 3)
            done = int(room * part)
            print('\r' + f'{text} [{"#" * done}{"." * (room - done)}]'[:width], end='', file=sys.stderr, flush=True)
        elif text != self.last:
            print(text, file=sys.stderr, flush=True)
        self.last = text

    def say(self, text):
        """Says something, and leaves the bar behind."""
        self.end()
        print(text, file=sys.stderr, flush=True)

    def end(self):
        """Goes on below the bar."""
        if self.on_terminal and self.last:
            print(file=sys.stderr, flush=True)
            self.last = None
