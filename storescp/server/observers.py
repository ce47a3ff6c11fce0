"""Telling observers, so that none of them can harm an association."""

from collections.abc import Iterable

from twisted.logger import Logger

from storescp.interfaces import IAssociationObserver

_log = Logger()


class Observers:
    """Passes each event on to all observers; what one of them raises is logged the first time."""

    def __init__(self, observers: Iterable[IAssociationObserver]) -> None:
        self._observers = tuple(observers)
        self._logged: set[tuple[int, str]] = set()

    def tell(self, event: str, *arguments: object) -> None:
        """Call the method `event` of `IAssociationObserver` on each."""
        for observer in self._observers:
            try:
                getattr(observer, event)(*arguments)
            except Exception:
                self._log_once(observer, event)

    def _log_once(self, observer: IAssociationObserver, event: str) -> None:
        if (id(observer), event) not in self._logged:
            self._logged.add((id(observer), event))
            _log.failure("The observer {observer!r} failed at {event}", observer=observer, event=event)
