"""Telling observers, so that none of them can harm an association."""

from collections.abc import Iterable

from twisted.logger import Logger

from storescp.interfaces import Association, AssociationObserver, IAssociationObserver

_log = Logger()


class Observers:
    """Passes each event on to all observers; what one of them raises is logged the first time."""

    def __init__(self, observers: Iterable[IAssociationObserver]) -> None:
        self._observers = tuple(observers)
        self._listening: dict[str, tuple[IAssociationObserver, ...]] = {}
        self._logged: set[tuple[int, str]] = set()

    def tell(self, event: str, *arguments: object) -> None:
        """Call the method `event` of `IAssociationObserver` on each."""
        if event not in self._listening:
            # To call who does not listen would cost as much as to call who does, at each step of each instance.
            self._listening[event] = tuple(each for each in self._observers if listens(each, event))
        for observer in self._listening[event]:
            try:
                getattr(observer, event)(*arguments)
            except Exception:
                self._log_once(observer, event, arguments[0])

    def _log_once(self, observer: IAssociationObserver, event: str, about: object) -> None:
        if (id(observer), event) not in self._logged:
            self._logged.add((id(observer), event))
            association = about.id if isinstance(about, Association) else None
            _log.failure(
                "The observer {observer!r} failed at {event}", observer=observer, event=event, association=association
            )


def listens(observer: IAssociationObserver, event: str) -> bool:
    """Whether it has a method of its own for that; or none at all, which is worth a line in the log."""
    if event in getattr(observer, "__dict__", ()):
        return True
    return getattr(type(observer), event, None) is not getattr(AssociationObserver, event)
