// The real moleculer-web before the services of a cluster. It prints its port when it is ready.
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

broker.start()
    .then(() => broker.waitForServices(["js"]))
    .then(() => new Promise(r => setTimeout(r, 800)))  // its aliases are made anew a little later
    .then(() => console.log(broker.getLocalService("api").server.address().port));
