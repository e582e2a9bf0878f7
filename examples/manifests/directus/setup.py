"""Makes the collections of a fresh Directus: `setup.py URL EMAIL PASSWORD`. Waits until it answers."""
import json
import sys
import time
import urllib.error
import urllib.request

url, email, password = sys.argv[1:]
token = None


def call(path, body):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def sign_in():
    for _ in range(300):
        try:
            return call("/auth/login", {"email": email, "password": password})["access_token"]
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    sys.exit("Directus does not answer")


def field(name, kind="string", schema=None, **meta):
    return {"field": name, "type": kind, "schema": schema or {}, "meta": meta}


def collection(name, *fields):
    own = [
        field("id", "uuid", {"is_primary_key": True, "length": 36}, special=["uuid"]),
        *fields,
        field("active", "boolean"),
        field("autotask_id", schema={"is_unique": True}),
        field("date_created", "timestamp", special=["date-created"]),
        field("date_updated", "timestamp", special=["date-updated"]),
    ]
    call("/collections", {"collection": name, "schema": {}, "meta": {}, "fields": own})


token = sign_in()
needed = {"is_nullable": False}
texts = ("street", "city", "region", "zip", "country", "phone", "website", "type", "number")
collection("accounts", field("name", schema=needed, required=True), *map(field, texts))
texts = ("first_name", "last_name", "email", "phone", "mobile")
collection("contacts", field("account", "uuid", needed, special=["m2o"], required=True), *map(field, texts), field("is_primary", "boolean"))
call("/relations", {"collection": "contacts", "field": "account", "related_collection": "accounts", "schema": {"on_delete": "RESTRICT"}})
