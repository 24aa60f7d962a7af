// The real moleculer-web before the services of a cluster. It prints its ports when it is ready.
"use strict";

const { ServiceBroker } = require("moleculer");
const ApiGateway = require("moleculer-web");

const broker = new ServiceBroker({
    nodeID: "web", transporter: process.argv[2], logger: false, heartbeatInterval: 1,
});

broker.createService({
    mixins: [ApiGateway],
    settings: {
        port: 0, ip: "127.0.0.1",
        routes: [{
            path: "/api", autoAliases: true, mappingPolicy: "all", etag: true,
            bodyParsers: { json: { strict: false }, urlencoded: { extended: true } },
        }],
    },
});

const aliases = {
    "GET /own/:id?": "js.echo", "/any": "js.echo", "REST /items": "js",
    "REST /some": { action: "js", only: ["list"] }, "GET /gone": "nobody.there",
    "GET /secret": "js.hidden", "GET /refused": "js.add", "GET /blocked": "js.typed",
    "GET /own/fixed": "js.number", "GET /own/deep/:rest*": "js.echo",
};
const bodyParsers = { json: { strict: false }, urlencoded: { extended: true } };
for (const [name, route] of Object.entries({
    aliases: { aliases, whitelist: ["js.*", "$node.*"], blacklist: ["js.typed", "js.add"] },
    anyOrigin: { cors: { origin: "*" } },
    someOrigins: { cors: { origin: ["https://a.example", "https://*.b.example"] } },
})) {
    broker.createService({
        name, mixins: [ApiGateway],
        settings: { port: 0, ip: "127.0.0.1", routes: [{
            path: "/api", mappingPolicy: route.aliases ? "restrict" : "all", bodyParsers, ...route,
        }] },
    });
}
const portOf = name => broker.getLocalService(name).server.address().port;

broker.start()
    .then(() => broker.waitForServices(["js"]))
    .then(() => new Promise(r => setTimeout(r, 800)))  // its aliases are made again a little later
    .then(() => console.log(JSON.stringify(Object.fromEntries(
        ["api", "aliases", "anyOrigin", "someOrigins"].map(name => [name, portOf(name)])))));
