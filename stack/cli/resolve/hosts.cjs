// Node beside a stack finds its names, as sitecustomize.py has it for Python: `hopstack exec` names this file in
// NODE_OPTIONS. HOPSTACK_HOSTS has `NAME=ADDRESS ...`; all other names are looked up as ever.
"use strict";
const dns = require("dns");

const hosts = new Map((process.env.HOPSTACK_HOSTS || "").split(" ").filter(Boolean).map((item) => item.split("=")));
const found = (name) => hosts.get(String(name).toLowerCase().replace(/\.$/, "")) || name;

function around(lookUp) {
  const lookup = function (hostname, ...more) {
    return lookUp.call(this, found(hostname), ...more);
  };
  // util.promisify asks the function itself what to make of its answers
  return Object.defineProperties(lookup, Object.getOwnPropertyDescriptors(lookUp));
}

if (hosts.size) {
  dns.lookup = around(dns.lookup);
  dns.promises.lookup = around(dns.promises.lookup);
}
