// Express: `trust proxy` is its switch for X-Forwarded-*.
const express = require("express");

const app = express();
app.set("trust proxy", "loopback");

app.get("/", (request, response) => response.send("<h1>hello from express</h1>"));
app.get("/where", (request, response) => {
  const base = `${request.protocol}://${request.host || request.headers["x-forwarded-host"]}`;
  response.json({ url: base + request.originalUrl, external: base + "/where", secure: request.secure, client: request.ip });
});
app.post("/form", express.urlencoded({ extended: false }), (request, response) => {
  const cookies = Object.fromEntries((request.headers.cookie || "").split("; ").filter(Boolean).map((one) => one.split("=")));
  response.cookie("visited", "yes").json({ name: request.body.name, cookies });
});
app.get("/old", (request, response) => response.redirect(`${request.protocol}://${request.headers["x-forwarded-host"]}/where`));
app.get("/stream", (request, response) => {
  response.type("text/plain");
  let number = 0;
  const timer = setInterval(() => {
    if (number === 4) {
      clearInterval(timer);
      response.end();
    } else {
      response.write(`line ${number++}\n`);
    }
  }, 200);
});
app.post("/upload", express.raw({ type: "*/*", limit: "10mb" }), (request, response) => response.json({ size: request.body.length }));
app.get("/boom", () => {
  throw new Error("the database password is hunter2");
});

app.listen(Number(process.env.PORT), "127.0.0.1");
