"""A DICOM Storage SCP on Twisted."""

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart, Cause, Excess, Status, StoreFailure, kind_of
from storescp.interfaces import (
    Association,
    AssociationObserver,
    Certificate,
    IAssociationObserver,
    IInstanceSink,
    IStorage,
    IUser,
    IWatchedStorage,
    PresentationContext,
    Room,
    StoreRequest,
)
from storescp.program.service import service_for
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import IJSONWebToken, IUsername, Realm
from storescp.server.listening import harden
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.naming import file_name
from storescp.storage.part10 import file_header
from storescp.storage.rules import Rules
from storescp.storage.workers import Threads
from storescp.uids import VERSION as __version__
from storescp.watch.audit import AuditObserver

__all__ = [
    "Access",
    "Association",
    "AssociationObserver",
    "AuditObserver",
    "CannotStart",
    "Cause",
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
    "IWatchedStorage",
    "PresentationContext",
    "Realm",
    "Room",
    "Rules",
    "Status",
    "StorageSCPFactory",
    "StoreFailure",
    "StoreRequest",
    "Threads",
    "__version__",
    "file_header",
    "file_name",
    "harden",
    "kind_of",
    "service_for",
]
