"""What is let go of is gone. Nothing here keeps a memo: the tests count references themselves."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
