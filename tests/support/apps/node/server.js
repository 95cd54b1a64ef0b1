// Node's own http server: what stands before it is in the headers.
const http = require("http");

function where(request) {
  const forwarded = request.headers;
  const base = `${forwarded["x-forwarded-proto"]}://${forwarded["x-forwarded-host"]}`;
  return {
    url: base + request.url,
    external: base + "/where",
    secure: forwarded["x-forwarded-proto"] === "https",
    client: forwarded["x-forwarded-for"].split(",")[0].trim(),
  };
}

function read(request, done) {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => done(Buffer.concat(pieces)));
}

function json(response, value, headers = {}) {
  response.writeHead(200, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

const pages = {
  "/": (request, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<h1>hello from node</h1>");
  },
  "/where": (request, response) => json(response, where(request)),
  "/form": (request, response) =>
    read(request, (body) => {
      const cookies = Object.fromEntries((request.headers.cookie || "").split("; ").filter(Boolean).map((one) => one.split("=")));
      json(response, { name: new URLSearchParams(body.toString()).get("name"), cookies }, { "Set-Cookie": "visited=yes; Path=/" });
    }),
  "/old": (request, response) => {
    response.writeHead(302, { Location: where(request).external });
    response.end();
  },
  "/stream": (request, response) => {
    response.writeHead(200, { "Content-Type": "text/plain" });
    let number = 0;
    const timer = setInterval(() => {
      if (number === 4) {
        clearInterval(timer);
        response.end();
      } else {
        response.write(`line ${number++}\n`);
      }
    }, 200);
  },
  "/upload": (request, response) => read(request, (body) => json(response, { size: body.length })),
  "/boom": (request, response) => {
    response.writeHead(500, { "Content-Type": "text/plain" });
    response.end("Internal Server Error");
  },
};

http
  .createServer((request, response) => {
    const page = pages[request.url.split("?")[0]];
    if (page) {
      page(request, response);
    } else {
      response.writeHead(404, { "Content-Type": "text/plain" });
      response.end(`node has no ${request.url}`);
    }
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
