# SPDX-License-Identifier: Apache-2.0
"""A directory of the size of a national portal is imported in a minute, searched while typing, and signed in to.

Done: `accounts` and `sites` are imported over identity's own call, in batches below its limits, the accounts spread over
`UNITS` units; `REPEATED` percent of the accounts are sent a second time and must be found again, not added. Accounts have
no passwords: Argon2id would be all that is measured, and has a figure of its own. Then people are searched as somebody
types, `searches_per_second` for `seconds`, at fixed times whether or not earlier answers have come; then the chairs sign
in with their passwords, `logins` times, `AT_ONCE` at once.
Must hold: import 60 s; type-ahead p95 25 ms at 100/s; 15 Argon2id logins a second (P10).
"""

import asyncio
import random
import unicodedata
from collections.abc import Iterator, Sequence

import httpx
from giaoban.identity.v1 import identity_pb2
from giaoban.identity.v1.identity_service_pb2 import ImportDirectoryRequest

from giaoban_loadtests.gateway_api import ApiError, GatewayApi
from giaoban_loadtests.machine import Watch, tree_cpu_seconds
from giaoban_loadtests.results import Figure
from giaoban_loadtests.scenarios import Context, Outcome
from giaoban_loadtests.stack import BASE_URL, ORGANISATION, LocalStack
from giaoban_loadtests.statistics import percentile
from giaoban_loadtests.systems import SystemFailedError
from giaoban_loadtests.systems.giaoban import Chair, read_accounts

HYPOTHESIS = "Seventy thousand accounts are no reason to wait"
PARAMETERS = {"accounts": 77_200, "sites": 5_000, "searches_per_second": 100, "seconds": 10, "logins": 60}
SECONDS = 500
UNITS = 200
REPEATED = 5  # percent
BATCH = 2_000
BATCH_SECONDS = 120.0
AT_ONCE = 4
WARM_UP = 48
KEEP_SECONDS = 2.0
PARTS_MEASURED = ("gateway", "identity", "postgres")
FAMILIES = (
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Huỳnh",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
)
MIDDLES = ("Văn", "Thị", "Minh", "Thanh", "Ngọc", "Quang", "Đức", "Hữu", "Kim", "Xuân", "Anh", "Quốc")
GIVEN = (
    "An",
    "Bình",
    "Chi",
    "Dũng",
    "Giang",
    "Hà",
    "Hùng",
    "Khánh",
    "Lan",
    "Linh",
    "Mai",
    "Nam",
    "Phúc",
    "Sơn",
    "Trang",
)


async def run(context: Context) -> Outcome:
    stack, wanted = context.private_stack("large_directory imports accounts"), context.parameters
    chairs = read_accounts(stack.accounts_file).chairs
    pids = {name: stack.processes()[name] for name in PARTS_MEASURED}
    watch = Watch(context.system.processes)
    imported, added = await _import(stack, wanted["accounts"], wanted["sites"])
    context.say(f"{wanted['accounts']} accounts and {wanted['sites']} sites are in after {imported:.1f} s")
    async with GatewayApi(BASE_URL) as api:
        tokens = [await api.sign_in(chair.identity) for chair in chairs]
    await _search(tokens, wanted["searches_per_second"], WARM_UP)
    before = {name: tree_cpu_seconds(pid) for name, pid in pids.items()}
    count = wanted["searches_per_second"] * wanted["seconds"]
    delays = await _search(tokens, wanted["searches_per_second"], count)
    searching = {name: tree_cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    context.say(f"{count} searches, p95 {1000 * percentile(delays, 0.95):.0f} ms")
    async with GatewayApi(BASE_URL) as api:  # the connections of the one before have been idle for too long
        before = {name: tree_cpu_seconds(pid) for name, pid in pids.items()}
        seconds = await _sign_in(api, chairs, wanted["logins"])
        signing = {name: tree_cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return Outcome(
        [
            Figure("P10", "import", imported, "s", "<=", 60),
            Figure("P10", "accounts added by what was sent twice", added - wanted["accounts"], "", "<=", 0),
            Figure("P10", "accounts", added, ""),
            Figure("P10", "type-ahead, p50", 1000 * percentile(delays, 0.5), "ms"),
            Figure("P10", "type-ahead, p95", 1000 * percentile(delays, 0.95), "ms", "<=", 25),
            Figure("P10", "type-ahead, searches", wanted["searches_per_second"], "1/s"),
            Figure("P10", "logins", wanted["logins"] / seconds, "1/s", ">=", 15),
            *(Figure("", f"CPU per search, {n}", 1e6 * used / count, "µs") for n, used in searching.items()),
            *(
                Figure("", f"CPU per login, {n}", 1e3 * used / wanted["logins"], "ms")
                for n, used in signing.items()
            ),
        ],
        watch.stop(),
        {"type-ahead": delays},
    )


async def _import(stack: LocalStack, accounts: int, sites: int) -> tuple[float, int]:
    """Import; return the seconds it took and how many accounts there are by their ids."""
    loop, ids = asyncio.get_running_loop(), set[str]()
    requests = list(_requests(accounts, sites))
    start = loop.time()
    for request in requests:
        done = await stack.import_directory(request, BATCH_SECONDS)
        ids.update(done.user_ids.values())
    return loop.time() - start, len(ids)


def _requests(accounts: int, sites: int) -> Iterator[ImportDirectoryRequest]:
    numbers = [*range(accounts), *range(accounts * REPEATED // 100)]
    for at in range(0, len(numbers), BATCH):
        request = _request()
        for number in numbers[at : at + BATCH]:
            request.users.add(
                username=f"p{number}",
                unit_code=f"unit-{number % UNITS}",
                display_name=_name(number),
                office=f"Office {number % 37}",
                email=f"p{number}@loadtest.example",
                locale=identity_pb2.LOCALE_VI,
            ).roles.add(unit_code=f"unit-{number % UNITS}", role=identity_pb2.ROLE_MEMBER)
        yield request
    for at in range(0, sites, BATCH):
        request = _request()
        for number in range(at, min(at + BATCH, sites)):
            request.sites.add(
                code=f"room-{number}",
                unit_code=f"unit-{number % UNITS}",
                name=f"Phòng họp {number}",
                kind=identity_pb2.SITE_KIND_FIXED,
            )
        yield request


def _request() -> ImportDirectoryRequest:
    request = ImportDirectoryRequest(
        organisation=identity_pb2.Organisation(
            code=ORGANISATION, name="Load test", time_zone="Asia/Ho_Chi_Minh"
        )
    )
    request.units.add(code="root", name="Load test")
    for number in range(UNITS):
        request.units.add(code=f"unit-{number}", parent_code="root", name=f"Đơn vị {number}")
    return request


def _name(number: int) -> str:
    chance = random.Random(number)
    return f"{chance.choice(FAMILIES)} {chance.choice(MIDDLES)} {chance.choice(GIVEN)} {number}"


def _typed(number: int) -> str:
    """What somebody has typed so far: the beginning of a name, or of it without the family; half without diacritics.

    Every eighth is misspelt and finds nobody.
    """
    chance = random.Random(number)
    name = _name(7 * number)
    if number % 3 == 0:
        _, _, name = name.partition(" ")
    if number % 2:
        decomposed = unicodedata.normalize("NFD", name.replace("Đ", "D").replace("đ", "d"))
        name = "".join(each for each in decomposed if not unicodedata.combining(each))
    if number % 8 == 0:
        name = f"{name[:1]}w{name[1:]}"
    return name[: chance.randint(2, len(name))]


async def _search(tokens: Sequence[str], per_second: int, count: int) -> list[float]:
    loop, delays = asyncio.get_running_loop(), list[float]()
    # Servers close what has been idle for 5 s: a request that meets that would be lost.
    limits = httpx.Limits(keepalive_expiry=KEEP_SECONDS)
    async with httpx.AsyncClient(base_url=BASE_URL, trust_env=False, timeout=20, limits=limits) as client:

        async def one(number: int, due: float) -> None:
            answer = await client.get(
                "/v1/users",
                params={"query": _typed(number), "page_size": 10},
                headers={"Authorization": f"Bearer {tokens[number % len(tokens)]}"},
            )
            if answer.is_error:
                raise SystemFailedError(f"GET /v1/users: {answer.status_code} {answer.text[:300]}")
            delays.append(loop.time() - due)

        start, asked = loop.time(), list[asyncio.Task[None]]()
        for number in range(count):
            due = start + number / per_second
            await asyncio.sleep(due - loop.time())
            asked.append(asyncio.create_task(one(number, due)))
        await asyncio.gather(*asked)
    return delays


async def _sign_in(api: GatewayApi, chairs: Sequence[Chair], count: int) -> float:
    loop, left = asyncio.get_running_loop(), iter(range(count))

    async def some() -> None:
        for number in left:
            try:
                await api.sign_in(chairs[number % len(chairs)].identity)
            except (ApiError, httpx.HTTPError) as error:
                raise SystemFailedError(f"signing in failed: {error}") from error

    start = loop.time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return loop.time() - start
