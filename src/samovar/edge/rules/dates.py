"""HTTP dates (RFC 9110 section 5.6.7): three formats are read, one is written, anything else is no date.

Names of days and months are read in any case, as RFC 9111 section 4.2 asks of caches. That a day of the week fits its
date is not checked: the RFC makes the name redundant. Seconds are whole seconds since 1970 in UTC.
"""

import re
from datetime import UTC, date, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH = date(1970, 1, 1).toordinal()
_LAST = 253_402_300_799  # the end of the year 9999, the last that four digits can say

_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_SHORT = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_NAMES = rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_FORMS = tuple(re.compile(form, re.IGNORECASE) for form in (
    _SHORT + rb", (?P<day>\d\d) (?P<month>" + _NAMES + rb") (?P<year>\d{4}) " + _TIME + rb" GMT",
    rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>\d\d)-(?P<month>" + _NAMES + rb")-(?P<year>\d\d) "
    + _TIME + rb" GMT",
    _SHORT + rb" (?P<month>" + _NAMES + rb") (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})",
))


def parse_date(value: bytes, now: float) -> int | None:
    """The moment that an HTTP date says, or None for what is no HTTP date.

    now: seconds since 1970, to know the century of a year of two digits: one that seems more than 50 years ahead is in
        the past.

    >>> from samovar.edge.rules.dates import parse_date
    >>> parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT", now=0)
    784111777
    >>> parse_date(b"yesterday", now=0) is None
    True
    """
    if not 24 <= len(value) <= 33:
        return None
    for form in _FORMS:
        found = form.fullmatch(value)
        if found is not None:
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        this = datetime.fromtimestamp(min(max(now, 0), _LAST), UTC).year
        year += this - this % 100
        if year > this + 50:
            year -= 100
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(year, _MONTH[found["month"].lower()], int(found["day"])).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * 86_400 + hour * 3_600 + minute * 60 + min(second, 59)  # a leap second has no number of its own


def format_date(moment: float) -> bytes:
    """A moment as the one format that is written (IMF-fixdate); outside of 1970 to 9999 the nearest moment inside.

    >>> from samovar.edge.rules.dates import format_date
    >>> format_date(784111777)
    b'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    at = datetime.fromtimestamp(int(min(max(moment, 0), _LAST)), UTC)
    return (f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} "
            f"{at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT").encode()
