// Serves CouchDB's interface on loopback with the data in memory. Sessions end after SESSION_SECS, to show that a sync goes on regardless.
const root = process.argv[2], port = Number(process.argv[3]), path = require("path");
const load = name => require(require.resolve(name, { paths: [root] }));
const PouchDB = load("pouchdb-core")
  .plugin(load("pouchdb-adapter-memory"))
  .plugin(load("pouchdb-mapreduce"))
  .plugin(load("pouchdb-replication"))
  .plugin(load("pouchdb-find"))
  .defaults({ adapter: "memory" });
const app = load("express")();
app.use("/", load("express-pouchdb")(PouchDB, { inMemoryConfig: true, logPath: path.join(root, "server.log") }));
app.listen(port, "127.0.0.1");
