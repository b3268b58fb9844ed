"""The configuration: frozen types (`sections`), read from file and environment (`reading`), checked and completed
(`completing`), and shown to people and editors (`showing`). All mistakes are reported at once (`mistakes`).
"""

from comfyledger.core.urls import MASK as MASK
from comfyledger.settings.characters import CharacterFile as CharacterFile
from comfyledger.settings.characters import read_character_files as read_character_files
from comfyledger.settings.mistakes import Invalid as Invalid
from comfyledger.settings.mistakes import Mistake as Mistake
from comfyledger.settings.reading import Read as Read
from comfyledger.settings.reading import examine as examine
from comfyledger.settings.reading import load as load
from comfyledger.settings.secret_sources import is_source as is_source
from comfyledger.settings.secret_sources import read_secret as read_secret
from comfyledger.settings.sections import FILE_URL_S_MAX as FILE_URL_S_MAX
from comfyledger.settings.sections import Backends as Backends
from comfyledger.settings.sections import Box as Box
from comfyledger.settings.sections import Character as Character
from comfyledger.settings.sections import CharacterDefaults as CharacterDefaults
from comfyledger.settings.sections import ComfyUI as ComfyUI
from comfyledger.settings.sections import Door as Door
from comfyledger.settings.sections import InputFile as InputFile
from comfyledger.settings.sections import Inputs as Inputs
from comfyledger.settings.sections import LedgerFile as LedgerFile
from comfyledger.settings.sections import Limits as Limits
from comfyledger.settings.sections import Logging as Logging
from comfyledger.settings.sections import Naming as Naming
from comfyledger.settings.sections import Scheduling as Scheduling
from comfyledger.settings.sections import Secret as Secret
from comfyledger.settings.sections import Section as Section
from comfyledger.settings.sections import Settings as Settings
from comfyledger.settings.sections import Spool as Spool
from comfyledger.settings.sections import Thumbnails as Thumbnails
from comfyledger.settings.sections import Webhook as Webhook
from comfyledger.settings.sections import Workflow as Workflow
