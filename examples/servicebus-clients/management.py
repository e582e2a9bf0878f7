"""Makes, changes, lists and removes entities with Microsoft's own administration client, as it is but for TLS."""

import os
from datetime import timedelta

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus.management import CorrelationRuleFilter, ServiceBusAdministrationClient, SqlRuleFilter


class Plain(RequestsTransport):
    """The emulator has no TLS, and the client insists on https."""

    def send(self, request, **kwargs):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **kwargs)


def client(connection):
    return ServiceBusAdministrationClient.from_connection_string(connection, transport=Plain())


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


connection = os.environ["HTTP_CONNECTION_STRING"]
admin = client(connection)

assert admin.get_namespace_properties().messaging_sku == "Standard"
print("namespace")

refused(ResourceNotFoundError, lambda: admin.get_topic("managed"))
window = timedelta(minutes=10)
topic = admin.create_topic(
    "managed", requires_duplicate_detection=True, duplicate_detection_history_time_window=window
)
assert topic.requires_duplicate_detection and topic.duplicate_detection_history_time_window == window
refused(ResourceExistsError, lambda: admin.create_topic("managed"))
topic.duplicate_detection_history_time_window = timedelta(minutes=20)
admin.update_topic(topic)
assert admin.get_topic("managed").duplicate_detection_history_time_window == timedelta(minutes=20)
print("topic")

refused(ResourceNotFoundError, lambda: admin.get_subscription("managed", "crm"))
lock = timedelta(seconds=30)
made = admin.create_subscription("managed", "crm", requires_session=True, lock_duration=lock, max_delivery_count=7)
assert made.requires_session and made.lock_duration == lock and made.max_delivery_count == 7
made.max_delivery_count = 9
admin.update_subscription("managed", made)
assert admin.get_subscription("managed", "crm").max_delivery_count == 9
made.requires_session = False
refused(HttpResponseError, lambda: admin.update_subscription("managed", made))
print("subscription")

assert [rule.name for rule in admin.list_rules("managed", "crm")] == ["$Default"]
admin.create_rule("managed", "crm", "ours", filter=CorrelationRuleFilter(label="crm", properties={"colour": "red"}))
rule = admin.get_rule("managed", "crm", "ours")
assert rule.filter.label == "crm" and rule.filter.properties["colour"] in ("red", b"red"), rule.filter.properties
admin.delete_rule("managed", "crm", "$Default")
admin.create_rule("managed", "crm", "sql", filter=SqlRuleFilter("colour = 'blue'"))
assert sorted(rule.name for rule in admin.list_rules("managed", "crm")) == ["ours", "sql"]
refused(ResourceNotFoundError, lambda: admin.delete_rule("managed", "crm", "$Default"))
print("rules")

for number in range(120):
    admin.create_subscription("managed", f"s{number:03}")
assert len(list(admin.list_subscriptions("managed"))) == 121
counts = admin.get_subscription_runtime_properties("managed", "crm")
assert counts.active_message_count == 0 and counts.dead_letter_message_count == 0
print("listing, page by page, and counts")

admin.delete_topic("managed")
assert "managed" not in [topic.name for topic in admin.list_topics()]
refused(ResourceNotFoundError, lambda: admin.delete_topic("managed"))
wrong = connection.replace("SharedAccessKey=", "SharedAccessKey=x")
refused(ClientAuthenticationError, lambda: client(wrong).get_namespace_properties())
print("removal, wrong key")
