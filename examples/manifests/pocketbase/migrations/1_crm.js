// Two collections, a user for us, tokens that end soon, and a limit on calls: what an administrator would set by hand.
migrate((app) => {
  const signedIn = "@request.auth.id != ''";
  const rules = { listRule: signedIn, viewRule: signedIn, createRule: signedIn, updateRule: signedIn, deleteRule: signedIn };
  const text = (name, max, required = false) => ({ type: "text", name, max, required });
  const stamps = [
    { type: "autodate", name: "created", onCreate: true },
    { type: "autodate", name: "updated", onCreate: true, onUpdate: true },
  ];
  const accounts = new Collection({
    type: "base",
    name: "accounts",
    ...rules,
    fields: [
      text("name", 100, true), text("street", 128), text("city", 60), text("region", 60), text("zip", 20), text("country", 60),
      text("phone", 40), { type: "url", name: "website" },
      { type: "select", name: "type", values: ["customer", "lead", "prospect", "dead", "cancelled", "vendor", "partner"], maxSelect: 1 },
      text("number", 50), { type: "bool", name: "active" }, text("autotask_id", 40), ...stamps,
    ],
    indexes: ["CREATE UNIQUE INDEX accounts_autotask_id ON accounts (autotask_id) WHERE autotask_id != ''"],
  });
  app.save(accounts);
  app.save(new Collection({
    type: "base",
    name: "contacts",
    ...rules,
    fields: [
      { type: "relation", name: "account", collectionId: accounts.id, maxSelect: 1, required: true },
      text("first_name", 60), text("last_name", 60), { type: "email", name: "email" }, text("phone", 40), text("mobile", 40),
      { type: "bool", name: "is_primary" }, { type: "bool", name: "active" }, text("autotask_id", 40), ...stamps,
    ],
    indexes: ["CREATE UNIQUE INDEX contacts_autotask_id ON contacts (autotask_id) WHERE autotask_id != ''"],
  }));

  const settings = app.settings();
  settings.rateLimits.enabled = true;
  settings.rateLimits.excludedIPs = [];
  settings.rateLimits.rules = [{ label: "/api/", maxRequests: parseInt($os.getenv("CALLS_A_SECOND") || "20"), duration: 1 }];
  app.save(settings);

  const users = app.findCollectionByNameOrId("users");
  users.authToken.duration = parseInt($os.getenv("SESSION_SECS") || "3600");
  app.save(users);
  const user = new Record(users);
  user.set("email", "ann@example.com");
  user.set("password", "example-password");
  app.save(user);
});
