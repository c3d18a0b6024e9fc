"""Print what pyproject.toml asks for, one requirement a line, with the extras named as arguments.

The image installs these before the package itself, so that a change of our code does not install
PyTorch again.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[2:]:
    wanted += project["optional-dependencies"][extra]
print("\n".join(wanted))
