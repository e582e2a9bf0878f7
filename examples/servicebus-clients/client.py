"""Every operation of Microsoft's Python client against the emulator: CONNECTION_STRING in the environment, and TRANSPORT=websocket for AMQP over one."""

import datetime
import os
import sys
import time
import traceback

from azure.servicebus import (
    AutoLockRenewer,
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
    TransportType,
)
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusConnectionError,
    ServiceBusError,
    SessionCannotBeLockedError,
)

CONNECTION = os.environ["CONNECTION_STRING"]
OPTIONS = {"retry_total": 0}
if os.environ.get("TRANSPORT") == "websocket":
    OPTIONS["transport_type"] = TransportType.AmqpOverWebsocket
    # The client goes to port 443 unless an endpoint of one's own says otherwise.
    OPTIONS["custom_endpoint_address"] = CONNECTION.split("Endpoint=")[1].split(";")[0]
CASES = []


def case(function):
    CASES.append(function)
    return function


def bodies(messages):
    return [b"".join(message.body).decode() for message in messages]


def receive(receiver, count, wait=5):
    """Up to `count` messages, in as many rounds as it takes."""
    found = []
    deadline = time.monotonic() + wait
    while len(found) < count and time.monotonic() < deadline:
        found += receiver.receive_messages(max_message_count=count - len(found), max_wait_time=1)
    return found


def refused(expected, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except expected:
        return
    raise AssertionError(f"{function} was not refused with {expected}")


@case
def send_and_complete(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(
            ServiceBusMessage(
                "hello",
                message_id="m1",
                subject="greeting",
                correlation_id="c1",
                content_type="text/plain",
                application_properties={"colour": "red", "count": 3},
            )
        )
        (message,) = receive(receiver, 1)
        assert bodies([message]) == ["hello"]
        assert message.message_id == "m1" and message.subject == "greeting"
        assert message.correlation_id == "c1" and message.content_type == "text/plain"
        assert message.application_properties == {b"colour": b"red", b"count": 3}
        assert message.delivery_count == 0 and message.sequence_number is not None
        assert message.enqueued_time_utc and message.locked_until_utc and message.lock_token
        receiver.complete_message(message)
        assert receiver.receive_messages(max_wait_time=1) == []


@case
def send_batch(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        batch = sender.create_message_batch()
        for number in range(50):
            batch.add_message(ServiceBusMessage(f"b{number}"))
        sender.send_messages(batch)
        sender.send_messages([ServiceBusMessage("b50"), ServiceBusMessage("b51")])
        messages = receive(receiver, 52)
        assert bodies(messages) == [f"b{number}" for number in range(52)]
        for message in messages:
            receiver.complete_message(message)


@case
def large_bodies(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("x" * 200_000))
        (message,) = receive(receiver, 1)
        assert len(bodies([message])[0]) == 200_000
        receiver.complete_message(message)
        refused((MessageSizeExceededError, ValueError), sender.send_messages, ServiceBusMessage("x" * 300_000))


@case
def abandon_until_dead(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("again"))
        for delivery in range(3):
            (message,) = receive(receiver, 1)
            assert message.delivery_count == delivery
            receiver.abandon_message(message)
        assert receiver.receive_messages(max_wait_time=1) == []
        with client.get_queue_receiver("plain", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
            (message,) = receive(dead, 1)
            assert message.dead_letter_reason == "MaxDeliveryCountExceeded"
            assert message.dead_letter_source == "plain"
            dead.complete_message(message)


@case
def dead_letter(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("bad"))
        (message,) = receive(receiver, 1)
        receiver.dead_letter_message(message, reason="unreadable", error_description="it has no key")
        with client.get_queue_receiver("plain", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
            (message,) = receive(dead, 1)
            assert message.dead_letter_reason == "unreadable"
            assert message.dead_letter_error_description == "it has no key"
            dead.complete_message(message)


@case
def defer(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("later"))
        (message,) = receive(receiver, 1)
        number = message.sequence_number
        receiver.defer_message(message)
        assert receiver.receive_messages(max_wait_time=1) == []
        (message,) = receiver.receive_deferred_messages([number])
        assert bodies([message]) == ["later"]
        receiver.complete_message(message)
        refused(ServiceBusError, receiver.receive_deferred_messages, [number])


@case
def schedule_and_cancel(client):
    now = datetime.datetime.now(datetime.timezone.utc)
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        soon = now + datetime.timedelta(seconds=2)
        numbers = sender.schedule_messages([ServiceBusMessage("s1"), ServiceBusMessage("s2")], soon)
        assert len(numbers) == 2
        sender.cancel_scheduled_messages(numbers[1])
        assert receiver.receive_messages(max_wait_time=0.5) == []
        (message,) = receive(receiver, 1)
        assert bodies([message]) == ["s1"]
        assert datetime.datetime.now(datetime.timezone.utc) >= soon
        receiver.complete_message(message)
        assert receiver.receive_messages(max_wait_time=1) == []


@case
def renew_and_lose_a_lock(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("held"))
        (message,) = receive(receiver, 1)
        before = message.locked_until_utc
        time.sleep(1)
        assert receiver.renew_message_lock(message) > before
        time.sleep(5.5)
        refused(MessageLockLostError, receiver.renew_message_lock, message)
        refused(MessageLockLostError, receiver.complete_message, message)
        (message,) = receive(receiver, 1)
        assert message.delivery_count == 1
        receiver.complete_message(message)


@case
def renew_automatically(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages(ServiceBusMessage("held"))
        (message,) = receive(receiver, 1)
        with AutoLockRenewer() as renewer:
            renewer.register(receiver, message, max_lock_renewal_duration=30)
            time.sleep(7)
            receiver.complete_message(message)


@case
def peek(client):
    with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        sender.send_messages([ServiceBusMessage("p1"), ServiceBusMessage("p2"), ServiceBusMessage("p3")])
        peeked = receiver.peek_messages(max_message_count=2)
        assert bodies(peeked) == ["p1", "p2"]
        peeked = receiver.peek_messages(max_message_count=9, sequence_number=peeked[1].sequence_number + 1)
        assert bodies(peeked) == ["p3"]
        for message in receive(receiver, 3):
            receiver.complete_message(message)


@case
def receive_and_delete(client):
    with client.get_queue_sender("plain") as sender:
        sender.send_messages(ServiceBusMessage("once"))
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        with client.get_queue_receiver("plain", receive_mode=mode) as receiver:
            assert bodies(receive(receiver, 1)) == ["once"]
        with client.get_queue_receiver("plain") as receiver:
            assert receiver.peek_messages() == []


@case
def duplicates(client):
    with client.get_queue_sender("unique") as sender, client.get_queue_receiver("unique") as receiver:
        for body in ["first", "second"]:
            sender.send_messages(ServiceBusMessage(body, message_id="same"))
        messages = receiver.receive_messages(max_message_count=5, max_wait_time=1)
        assert bodies(messages) == ["first"]
        receiver.complete_message(messages[0])


@case
def sessions(client):
    with client.get_queue_sender("sessions") as sender:
        for number in range(3):
            for session in ["a", "b"]:
                sender.send_messages(ServiceBusMessage(f"{session}{number}", session_id=session))
        refused(ServiceBusError, sender.send_messages, ServiceBusMessage("no session"))
    with client.get_queue_receiver("sessions", session_id="a") as receiver:
        messages = receive(receiver, 3)
        assert bodies(messages) == ["a0", "a1", "a2"]
        receiver.session.set_state("half way")
        assert receiver.session.get_state() == b"half way"
        before = receiver.session.locked_until_utc
        time.sleep(1)
        assert receiver.session.renew_lock() > before
        rival = client.get_queue_receiver("sessions", session_id="a")
        refused(SessionCannotBeLockedError, rival.receive_messages, max_wait_time=1)
        for message in messages:
            receiver.complete_message(message)
        receiver.session.set_state(None)
    with client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION) as receiver:
        assert receiver.session.session_id == "b"
        assert bodies(receiver.peek_messages(max_message_count=5)) == ["b0", "b1", "b2"]
        for message in receive(receiver, 3):
            receiver.complete_message(message)
    nobody = client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1)
    refused(OperationTimeoutError, nobody.receive_messages)


@case
def topics(client):
    with client.get_topic_sender("news") as sender:
        sender.send_messages(
            [
                ServiceBusMessage("one", application_properties={"colour": "red"}),
                ServiceBusMessage("two", application_properties={"colour": "blue"}),
            ]
        )
    for name, expected in [("all", ["one", "two"]), ("red", ["one"])]:
        with client.get_subscription_receiver("news", name) as receiver:
            messages = receive(receiver, len(expected))
            assert bodies(messages) == expected
            for message in messages:
                receiver.complete_message(message)
            assert receiver.peek_messages() == []


@case
def what_is_not_there(client):
    sender = client.get_queue_sender("nothing")
    refused(MessagingEntityNotFoundError, sender.send_messages, ServiceBusMessage("lost"))


@case
def a_wrong_key(_client):
    wrong = CONNECTION.replace("SharedAccessKey=", "SharedAccessKey=x")
    with ServiceBusClient.from_connection_string(wrong, **OPTIONS) as client:
        sender = client.get_queue_sender("plain")
        # With an endpoint of one's own the client calls it a matter of the connection.
        named = ServiceBusConnectionError if "custom_endpoint_address" in OPTIONS else ServiceBusAuthenticationError
        refused(named, sender.send_messages, ServiceBusMessage("lost"))


def main():
    failed = 0
    chosen = sys.argv[1:]
    for function in CASES:
        if chosen and function.__name__ not in chosen:
            continue
        name = function.__name__
        try:
            with ServiceBusClient.from_connection_string(CONNECTION, **OPTIONS) as client:
                function(client)
            print(f"ok      {name}", flush=True)
        except Exception as error:  # every case is tried, whatever the others did
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc()
    print(f"{len(CASES) - failed} of {len(CASES)} passed")
    raise SystemExit(1 if failed else 0)


main()
