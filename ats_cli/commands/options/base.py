"""Options that several commands share: the same word means the same in every command."""

from ats_cli.commands.options.labelled import *  # noqa: F403
from ats_cli.commands.options.maps import *  # noqa: F403
from ats_cli.commands.options.output import *  # noqa: F403
from ats_cli.commands.options.running import *  # noqa: F403
from ats_cli.commands.options.sampling import *  # noqa: F403
from ats_cli.commands.options.slide import *  # noqa: F403
