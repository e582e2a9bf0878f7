# Appended to schema.py of Roundup's "minimal" tracker: two classes of ours.
account = Class(
    db, "account",
    name=String(indexme="no"), street=String(), city=String(), region=String(), zip=String(), country=String(),
    phone=String(), website=String(), type=String(), number=String(), active=Boolean(), autotask_id=String(),
)
contact = Class(
    db, "contact",
    account_id=Link("account"), first_name=String(), last_name=String(), email=String(), phone=String(), mobile=String(),
    is_primary=Boolean(), active=Boolean(), autotask_id=String(),
)
