"""memoize on `async def`: an awaitable that is already done on a hit, one flight on a miss."""

import asyncio
import contextvars
import copy
import functools
import inspect
import pickle
import types

import pytest

from samovar import Stats, memoize
from support import run_async


def make(**options):
    calls = []

    @memoize(**options)
    async def f(x, y=0):
        """An answer, after a breath."""
        calls.append(x)
        await asyncio.sleep(0)
        return [x, y]

    return f, calls


def send(awaitable):
    """What one send(None) by hand returns, with no loop anywhere."""
    with pytest.raises(StopIteration) as stop:
        awaitable.send(None)
    return stop.value.value


def warmed(*args, **options):
    f, calls = make(**options)
    value = run_async(f_of(f, *args))
    return f, value


async def f_of(f, *args, **kwargs):
    return await f(*args, **kwargs)


# ------------------------------------------------------------------ misses and hits

def test_async_memo_computes_once():
    f, calls = make()

    async def main():
        first = await f(1)
        assert await f(1) is await f(1) is first == [1, 0]
        assert await f(1, y=2) == [1, 2]

    run_async(main())
    assert calls == [1, 1]
    assert f.cache_info() == (2, 2, 128, 2)
    assert f.cache_stats() == Stats(hits=2, misses=2, coalesced=0, loads=2, failures=0, evictions=0, currsize=2,
                                    maxsize=128)


def test_async_hit_is_done_already_and_needs_no_loop():
    f, value = warmed(1)
    assert send(f(1)) is value
    hit = f(1)
    assert send(hit) is send(hit) is value
    assert send(hit.__await__()) is value
    with pytest.raises(StopIteration) as stop:
        next(hit.__await__())
    assert stop.value.value is value


@pytest.mark.parametrize("value", [None, (), (1, 2), ValueError("a value"), StopIteration(3), GeneratorExit(), [1]],
                         ids=repr)
def test_async_hit_returns_any_value_untouched(value):
    @memoize
    async def f():
        return value

    async def main():
        assert await f() is value
        assert await f() is value
        assert await asyncio.create_task(f_of(f)) is value

    run_async(main())
    assert send(f()) is value


def test_async_hit_may_be_awaited_many_times():
    f, value = warmed(1)

    async def main():
        hit = f(1)
        assert [await hit, await hit, await hit] == [value] * 3
        assert await asyncio.gather(f_of(lambda: hit), f_of(lambda: hit)) == [value] * 2

    run_async(main())


@pytest.mark.parametrize("warm", [False, True])
def test_async_call_is_accepted_by_all_of_asyncio(warm):
    async def main():
        f, calls = make()
        if warm:
            await f(1)
        assert await asyncio.create_task(f(1)) == [1, 0]
        assert await asyncio.gather(f(1), f(1), f(2)) == [[1, 0], [1, 0], [2, 0]]
        assert await asyncio.wait_for(f(3), 10) == [3, 0]
        assert await asyncio.wait_for(f(3), 10) == [3, 0]
        assert await asyncio.shield(f(4)) == [4, 0]
        assert await asyncio.shield(f(4)) == [4, 0]
        assert await asyncio.ensure_future(f(5)) == [5, 0]
        assert await asyncio.ensure_future(f(5)) == [5, 0]
        done, _ = await asyncio.wait([asyncio.ensure_future(f(n)) for n in (1, 2, 6)])
        assert sorted(task.result() for task in done) == [[1, 0], [2, 0], [6, 0]]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(f(n)) for n in (1, 7, 7)]
        assert [task.result() for task in tasks] == [[1, 0], [7, 0], [7, 0]]
        assert [await next_done for next_done in asyncio.as_completed([f(8)])] == [[8, 0]]
        async with asyncio.timeout(10):
            assert await f(8) == [8, 0]
        loop = asyncio.get_running_loop()
        assert await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(f(8), loop)) == [8, 0]
        assert await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(f(9), loop)) == [9, 0]
        assert calls == [1, 2, 3, 4, 5, 6, 7, 8, 9]

    run_async(main())


def test_async_hit_is_accepted_by_asyncio_run():
    f, value = warmed(1)
    with asyncio.Runner() as runner:
        assert runner.run(f_of(f, 1)) is value
        assert runner.get_loop().run_until_complete(f(1)) is value
    assert asyncio.run(f(1)) is value


def test_async_hit_behaves_as_a_finished_coroutine():
    f, value = warmed(1)
    hit = f(1)
    assert inspect.isawaitable(hit)
    assert asyncio.iscoroutine(hit)
    hit.close()
    with pytest.raises(KeyError):
        hit.throw(KeyError("thrown"))
    with pytest.raises(KeyError):
        hit.throw(KeyError)
    with pytest.raises(TypeError):
        hit.throw(1)
    assert send(hit) is value


def test_async_miss_that_is_never_awaited_changes_nothing():
    f, calls = make()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f(1)
    assert calls == []
    assert run_async(f_of(f, 1)) == [1, 0]
    assert calls == [1]
    assert not f.cache_invalidate(2)


def test_async_memo_drives_by_hand_without_a_loop():
    @memoize
    async def f(x):
        await pause()
        return x + 1

    @types.coroutine
    def pause():
        yield "paused"

    call = f(1).__await__()
    assert next(call) == "paused"
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert stop.value.value == 2
    assert send(f(1)) == 2


def test_async_memo_without_a_pause_needs_no_loop():
    @memoize
    async def f(x):
        return x + 1

    assert send(f(1)) == 2
    assert send(f(1)) == 2
    assert f.cache_info() == (1, 1, 128, 1)


# ------------------------------------------------------------------ coalescing

def test_async_crowd_is_served_by_one_load():
    f, calls = make()

    async def main():
        answers = await asyncio.gather(*(f(1) for _ in range(50)))
        assert all(answer is answers[0] for answer in answers)

    run_async(main())
    assert calls == [1]
    stats = f.cache_stats()
    assert (stats.loads, stats.coalesced, stats.currsize) == (1, 49, 1)


def test_async_crowd_computes_each_for_itself_when_not_coalescing():
    f, calls = make(coalesce=False)
    run_async(gather(f(1) for _ in range(5)))
    assert calls == [1] * 5
    assert f.cache_stats().coalesced == 0
    assert f.cache_info().currsize == 1


async def gather(awaitables, **options):
    return await asyncio.gather(*awaitables, **options)


def test_async_failure_reaches_the_whole_crowd_and_the_next_tries_anew():
    calls = []

    @memoize
    async def f(x):
        calls.append(x)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise ValueError("first")
        return x

    async def main():
        errors = await asyncio.gather(*(f(1) for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in errors] == ["first"] * 5
        assert await f(1) == 1

    run_async(main())
    assert len(calls) == 2
    assert f.cache_stats().failures == 1


def test_async_call_that_asks_for_its_own_key_computes():
    depth = []

    @memoize
    async def f(x):
        depth.append(x)
        await asyncio.sleep(0)
        return await f(x) + [x] if len(depth) < 3 else [x]

    assert run_async(f_of(f, 1)) == [1, 1, 1]
    assert len(depth) == 3


def test_async_recursion_computes_each_key_once():
    @memoize
    async def fib(n):
        return n if n < 2 else await fib(n - 1) + await fib(n - 2)

    assert run_async(f_of(fib, 60)) == 1548008755920
    assert fib.cache_info().misses == 61


def test_async_tasks_that_wait_for_each_other_compute():
    order = []

    @memoize
    async def f(x):
        order.append(x)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [x] if order.count(x) > 1 else [x, *await f(3 - x)]

    async def main():
        return await asyncio.wait_for(asyncio.gather(f(1), f(2)), 10)

    assert {value[0] for value in run_async(main())} == {1, 2}


# ------------------------------------------------------------------ verbs

def test_async_verbs_work_without_a_loop():
    f, value = warmed(1)
    assert f.cache_contains(1) is True
    assert f.cache_contains(2) is False
    f.cache_set("set", 2, y=3)
    assert send(f(2, y=3)) == "set"
    assert f.cache_invalidate(1) is True
    assert f.cache_invalidate(1) is False
    assert f.cache_key(1) == f.cache_key(1.0)
    f.cache_clear()
    assert f.cache_info() == (0, 0, 128, 0)
    assert f.cache_parameters() == {"maxsize": 128, "typed": False}


def test_async_refresh_is_awaitable_and_stores():
    f, calls = make()

    async def main():
        first = await f(1)
        second = await f.cache_refresh(1)
        assert second is not first
        assert await f(1) is second
        assert await asyncio.create_task(f_of(f.cache_refresh, 2)) is await f(2)

    run_async(main())
    assert calls == [1, 1, 2]


def test_async_refresh_that_fails_keeps_the_old_value():
    answers = iter([[1], ValueError("no")])

    @memoize
    async def f():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main():
        first = await f()
        with pytest.raises(ValueError, match="no"):
            await f.cache_refresh()
        assert await f() is first

    run_async(main())


@pytest.mark.parametrize("act", ["invalidate", "clear", "set"])
def test_async_load_is_fenced_by_a_change_meanwhile(act):
    async def main():
        started, go = asyncio.Event(), asyncio.Event()

        @memoize
        async def f(x):
            started.set()
            await go.wait()
            return ["old"]

        crowd = [asyncio.ensure_future(f(1)) for _ in range(3)]
        await started.wait()
        if act == "invalidate":
            f.cache_invalidate(1)
        elif act == "clear":
            f.cache_clear()
        else:
            f.cache_set(["new"], 1)
        go.set()
        assert (await asyncio.gather(*crowd))[0] == ["old"]
        assert f.cache_contains(1) is (act == "set")
        if act == "set":
            assert await f(1) == ["new"]

    run_async(main())


def test_async_waiters_after_an_invalidation_do_not_get_the_old_value():
    async def main():
        started, go = asyncio.Event(), asyncio.Event()
        versions = iter([["old"], ["new"]])

        @memoize
        async def f(x):
            version = next(versions)
            started.set()
            await go.wait()
            return version

        early = asyncio.ensure_future(f(1))
        await started.wait()
        assert f.cache_invalidate(1) in (True, False)
        late = asyncio.ensure_future(f(1))
        await asyncio.sleep(0)
        go.set()
        assert await early == ["old"]
        assert await late == ["new"]
        assert await f(1) == ["new"]

    run_async(main())


# ------------------------------------------------------------------ options

def test_async_memo_remembers_named_exceptions():
    calls = []

    @memoize(cache_exceptions=KeyError)
    async def find(x):
        calls.append(x)
        raise KeyError(x)

    async def main():
        for _ in range(3):
            with pytest.raises(KeyError):
                await find(1)
        errors = await asyncio.gather(find(1), find(1), return_exceptions=True)
        assert [type(error) for error in errors] == [KeyError] * 2
        with pytest.raises(KeyError):
            await asyncio.create_task(f_of(find, 1))

    run_async(main())
    assert calls == [1]
    with pytest.raises(KeyError):
        find(1).send(None)


def test_async_memo_copies_for_every_caller():
    f, _ = make(copy=copy.deepcopy)

    async def main():
        first = await f(1)
        first.append("spoiled")
        assert await f(1) == [1, 0]
        crowd = await asyncio.gather(*(f(2) for _ in range(4)))
        assert len({id(value) for value in crowd}) == 4

    run_async(main())


def test_async_memo_keys_by_function():
    f, calls = make(key=lambda x, y=0: len(x))

    async def main():
        await f([1])
        await f([2])

    run_async(main())
    assert calls == [[1]]


def test_async_memo_refuses_unhashable_arguments_by_name():
    f, _ = make()
    with pytest.raises(TypeError, match=r"key=") as caught:
        run_async(f_of(f, 1, y=[]))
    assert "y" in str(caught.value)


@pytest.mark.parametrize("maxsize", [0, 1, 2, None])
def test_async_memo_obeys_maxsize(maxsize):
    f, calls = make(maxsize=maxsize)

    async def main():
        for x in (1, 2, 3, 3, 2, 1):
            await f(x)

    run_async(main())
    assert len(calls) == {0: 6, 1: 5, 2: 4, None: 3}[maxsize]
    assert f.cache_info().currsize == {0: 0, 1: 1, 2: 2, None: 3}[maxsize]


def test_async_memo_runs_in_the_context_of_its_caller():
    who = contextvars.ContextVar("who")

    @memoize
    async def f(x):
        await asyncio.sleep(0)
        return who.get()

    async def main():
        who.set("caller")
        assert await f(1) == "caller"

    run_async(main())


# ------------------------------------------------------------------ what it shows of itself

@memoize
async def published(x: int) -> int:
    """Published."""
    return x


class Home:
    def __init__(self, factor=2):
        self.factor = factor

    @memoize
    async def method(self, x):
        return self.factor * x

    @staticmethod
    @memoize
    async def static(x):
        return x

    @classmethod
    @memoize
    async def klass(cls, x):
        return cls.__name__


def test_async_memo_is_a_coroutine_function():
    assert inspect.iscoroutinefunction(published)
    assert inspect.iscoroutinefunction(make()[0])
    assert not inspect.iscoroutinefunction(memoize(len))
    assert inspect.iscoroutinefunction(Home().method)


def test_async_memo_shows_its_function():
    assert published.__name__ == published.__qualname__ == "published"
    assert published.__doc__ == "Published."
    assert str(inspect.signature(published)) == "(x: int) -> int"
    assert inspect.iscoroutinefunction(published.__wrapped__)


def test_async_memo_pickles_and_copies_as_itself():
    assert pickle.loads(pickle.dumps(published)) is copy.copy(published) is copy.deepcopy(published) is published
    assert pickle.loads(pickle.dumps(Home.method)) is Home.method


def test_async_memo_works_as_a_method():
    async def main():
        home = Home()
        assert await home.method(3) == 6
        assert await home.method(3) == 6
        assert Home.method.cache_info() == (1, 1, 128, 1)
        assert await Home.static(1) == await home.static(1) == 1
        assert await Home.klass(1) == await home.klass(1) == "Home"

    run_async(main())


def test_async_memo_wraps_partials_and_callables():
    async def add(x, y):
        return x + y

    class Adder:
        async def __call__(self, x):
            return x + 1

    async def main():
        partial = memoize(functools.partial(add, 1))
        assert await partial(2) == await partial(2) == 3
        assert partial.cache_info().hits == 1

    run_async(main())


def test_async_generator_function_is_remembered_as_any_function():
    @memoize
    async def numbers():
        yield 1

    assert numbers() is numbers()  # the same generator: as functools does
