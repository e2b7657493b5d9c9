"""A budget beside an obviously right one: a list of who is in, and a list of who waits."""

import asyncio
import contextvars

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from samovar import OriginBudget, OriginBusy


class Failure(Exception):
    pass


class BudgetMachine(RuleBasedStateMachine):
    """Tasks of one loop, each in a context of its own."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.limit, self.most_queued = 2, 4
        self.budget = OriginBudget(self.limit, max_queue=self.most_queued, queue_timeout=3600)
        self.tasks = {}  # number -> its task
        self.goes = {}  # number -> what lets it leave
        self.inside = []  # those who hold a place of their own
        self.waiting = []
        self.refused = self.count = 0

    def settle(self):
        """Let every task run until it waits."""
        async def turns():
            for _ in range(6):
                await asyncio.sleep(0)
        self.loop.run_until_complete(turns())

    async def visit(self, number):
        try:
            async with self.budget.slot():
                self.goes[number] = self.loop.create_future()
                error = await self.goes[number]
                if error is not None:
                    raise error
        except (OriginBusy, Failure) as error:
            return error

    def start(self, context):
        self.count += 1
        self.tasks[self.count] = self.loop.create_task(self.visit(self.count), context=context)
        return self.count

    def hand_on(self):
        while self.waiting and len(self.inside) < self.limit:
            self.inside.append(self.waiting.pop(0))

    @rule()
    def comes(self):
        number = self.start(contextvars.Context())
        if len(self.inside) < self.limit and not self.waiting:
            self.inside.append(number)
        elif len(self.waiting) < self.most_queued:
            self.waiting.append(number)
        else:
            self.refused += 1
            self.settle()
            assert isinstance(self.tasks.pop(number).result(), OriginBusy)
        self.settle()

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), error=st.sampled_from([None, Failure()]))
    def leaves(self, data, error):
        number = data.draw(st.sampled_from(self.inside))
        self.goes.pop(number).set_result(error)
        self.inside.remove(number)
        self.hand_on()
        self.settle()
        assert self.tasks.pop(number).result() is error

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def is_cancelled_inside(self, data):
        number = data.draw(st.sampled_from(self.inside))
        self.tasks.pop(number).cancel()
        del self.goes[number]
        self.inside.remove(number)
        self.hand_on()
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def is_cancelled_in_the_queue(self, data):
        number = data.draw(st.sampled_from(self.waiting))
        self.tasks.pop(number).cancel()
        self.waiting.remove(number)
        self.settle()

    @precondition(lambda self: self.inside and self.waiting)
    @rule(data=st.data())
    def is_cancelled_when_its_turn_has_come(self, data):
        """Before it runs: the place goes on to the next."""
        leaving, turn = data.draw(st.sampled_from(self.inside)), self.waiting.pop(0)
        place = self.goes.pop(leaving)

        async def both():
            place.set_result(None)
            while self.budget.stats().queued > len(self.waiting):
                await asyncio.sleep(0)
            self.tasks.pop(turn).cancel()

        self.loop.run_until_complete(both())
        self.inside.remove(leaving)
        self.hand_on()
        self.settle()
        self.goes.pop(turn, None)
        del self.tasks[leaving]

    @invariant()
    def they_agree(self):
        stats = self.budget.stats()
        assert (stats.running, stats.queued) == (len(self.inside), len(self.waiting))
        assert sorted(self.goes) == sorted(self.inside)
        assert (stats.refused_full, stats.most <= self.limit) == (self.refused, True)

    def teardown(self):
        for number in list(self.inside) + list(self.waiting):
            self.tasks[number].cancel()
        self.settle()
        assert (self.budget.stats().running, self.budget.stats().queued) == (0, 0)
        self.loop.close()


TestBudget = BudgetMachine.TestCase
TestBudget.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
