"""Options that several commands share: the same word means the same in every command."""

from ats_cli.commands.labelled_options import *  # noqa: F403
from ats_cli.commands.output_options import *  # noqa: F403
from ats_cli.commands.running_options import *  # noqa: F403
from ats_cli.commands.sampling_options import *  # noqa: F403
from ats_cli.commands.slide_options import *  # noqa: F403
