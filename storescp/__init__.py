"""A DICOM Storage SCP on Twisted."""

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart, Excess, Status, StoreFailure
from storescp.interfaces import (
    Association,
    AssociationObserver,
    Certificate,
    IAssociationObserver,
    IInstanceSink,
    IStorage,
    IUser,
    PresentationContext,
    StoreRequest,
)
from storescp.program.audit import AuditObserver
from storescp.program.service import service_for
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import IJSONWebToken, IUsername, Realm
from storescp.server.listening import harden
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.part10 import file_header
from storescp.storage.rules import Rules
from storescp.storage.workers import Threads
from storescp.uids import VERSION as __version__

__all__ = [
    "Access",
    "Association",
    "AssociationObserver",
    "AuditObserver",
    "CannotStart",
    "Certificate",
    "Config",
    "ConfigError",
    "DirectoryStorage",
    "DiscardStorage",
    "Excess",
    "IAssociationObserver",
    "IInstanceSink",
    "IJSONWebToken",
    "IStorage",
    "IUser",
    "IUsername",
    "PresentationContext",
    "Realm",
    "Rules",
    "Status",
    "StorageSCPFactory",
    "StoreFailure",
    "StoreRequest",
    "Threads",
    "__version__",
    "file_header",
    "harden",
    "service_for",
]
