// Makes a container in Azurite and prints its URL with a shared access signature, as the portal would.
"use strict";

const { createHmac } = require("node:crypto");
const { setTimeout: pause } = require("node:timers/promises");

const ACCOUNT = "devstoreaccount1";
// Azurite's own key, the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const ROOT = `http://127.0.0.1:${process.env.PORT}/${ACCOUNT}`;
const VERSION = "2021-12-02";

/** A signature for the whole account (services, resource types, rights), good for a day. */
function signature() {
  const expiry = new Date(Date.now() + 86_400_000).toISOString().replace(/\.\d+Z$/, "Z");
  const parts = { sv: VERSION, ss: "b", srt: "sco", sp: "rwdlc", se: expiry, spr: "https,http" };
  const text = [ACCOUNT, parts.sp, parts.ss, parts.srt, "", parts.se, "", parts.spr, parts.sv, "", ""].join("\n");
  parts.sig = createHmac("sha256", Buffer.from(KEY, "base64")).update(text).digest("base64");
  return new URLSearchParams(parts).toString();
}

async function main() {
  const query = signature();
  for (let tries = 0; ; tries += 1) {
    try {
      const made = await fetch(`${ROOT}/claims?restype=container&${query}`, { method: "PUT", headers: { "x-ms-version": VERSION } });
      if (made.status !== 201 && made.status !== 409) throw new Error(`${made.status}: ${await made.text()}`);
      break;
    } catch (error) {
      if (tries > 100) throw error;
      await pause(100);
    }
  }
  console.log(`${ROOT}/claims?${query}`);
}

main();
