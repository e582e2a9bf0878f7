"""Query, create, update and paging with autotask-client 0.3.1, unmodified. Argument: base URL of the simulated Autotask."""
import asyncio
import sys

from autotask.client import AutotaskClient
from autotask.config import AutotaskConfig
from autotask.entities.manager import EntityManager
from autotask.query import Q


async def main() -> None:
    config = AutotaskConfig(
        username="integration@example.test", secret="sandbox-secret", integration_code="SANDBOX", api_url=sys.argv[1]
    )
    async with AutotaskClient(config) as client:
        manager = EntityManager(client)
        company = {"companyName": "Snake Ltd", "companyType": 1, "phone": "123", "ownerResourceID": 29682885}
        created = await client.post("Companies", json=company)
        await client.patch("Companies", json={"id": created["itemId"], "city": "Troy"})
        assert (await client.get(f"Companies/{created['itemId']}"))["item"]["city"] == "Troy"
        assert len(await manager.query("Companies", Q(companyName="Snake Ltd"))) >= 1
        contacts = await client.query_all("Contacts", [{"op": "gt", "field": "id", "value": 0}])
        count = await client.post("Contacts/query/count", json={"filter": [{"op": "gt", "field": "id", "value": 0}]})
        assert len(contacts) == count["queryCount"] > 500, (len(contacts), count)
        print(f"autotask-client: created, updated, found, paged {len(contacts)} contacts")


asyncio.run(main())
