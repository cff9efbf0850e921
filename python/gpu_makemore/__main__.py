"""``python -m gpu_makemore`` is ``gpu-makemore``."""

import sys

from ._program import main

sys.exit(main())
