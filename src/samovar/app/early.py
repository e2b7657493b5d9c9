"""XFetch: one caller renews an entry a little before it expires, so that a crowd never meets it expired.

Vattani, Chierichetti and Lowenstein, "Optimal probabilistic cache stampede prevention" (2015), section 3: renew when
`now - cost * beta * log(u) >= expiry`, with u uniform in (0, 1]. The cost is the measured time of the last load: what
takes long to compute is renewed earlier.
"""

import math


def gap(beta: float, u: float) -> float:
    """How many times the cost of its load before its deadline an entry is due for this caller.

    beta: eagerness, 0 or more; 1.0 is the paper's optimum, 0.0 never renews early.
    u: chance, more than 0 and up to 1.

    >>> from samovar.app.early import gap
    >>> gap(1.0, 1.0), gap(0.0, 0.5), round(gap(2.0, 0.5), 3)
    (0.0, 0.0, 1.386)
    """
    return -beta * math.log(u) + 0.0 if beta else 0.0
