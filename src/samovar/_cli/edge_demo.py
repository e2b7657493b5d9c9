"""`samovar edge --demo`: the demonstration of the edge, told on the terminal while it runs."""

import asyncio
import contextlib
import json

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from .._base.clock import stopwatch
from .._lab.edge_demo import OCEAN_S, QUERY_S, Step, new_world, tell

_SCENE = (
    f"A web site stands in Virginia; its readers are in London and in Tula, {OCEAN_S * 1e3:.0f} ms away and back. Each city "
    f"has a samovar edge, and a third one in Virginia shields the site's own server, which takes {QUERY_S * 1e3:.0f} ms for "
    "a page. All of them are processes on this machine, started just now."
)


def demonstrate(*, as_json: bool) -> bool:
    """Run it and tell it; whether everything was as claimed."""
    console, began_s = Console(), stopwatch()
    steps: list[Step] = []
    if not as_json:
        console.print(Text("Samovar at the edge", style="bold"))
        console.print(Padding(Text(_SCENE, style="dim"), (0, 0, 1, 0)))

    async def run() -> None:
        async for step in tell(world):
            steps.append(step)
            if not as_json:
                show(step, len(steps), console)

    world = new_world()
    with Console(stderr=True).status("starting the site, the ocean and three edges"):
        world.start()
    with contextlib.closing(world):
        asyncio.run(run())
    held = all(step.held for step in steps)
    if as_json:
        print(json.dumps({"held": held, "took_s": stopwatch() - began_s, "steps": [step.plain() for step in steps]}))
    else:
        failed = [step.name for step in steps if not step.held]
        console.print(Text("Every step came out as claimed." if held else f"Not as claimed: {', '.join(failed)}.",
                           style="bold green" if held else "bold red"))
    return held


def show(step: Step, number: int, console: Console) -> None:
    """Print one step."""
    mark, style = ("✓", "green") if step.held else ("✗", "red")
    console.print(Text(f"{number}. {step.title}", style="bold"))
    console.print(Padding(Text.assemble((f"{mark} ", style), step.claim), (0, 0, 0, 3)))
    console.print(Padding(Text(step.found, style="dim"), (0, 0, 1, 5)))
