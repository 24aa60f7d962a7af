// A real Moleculer node, told by its argument what to be. It prints "ready" when it is.
"use strict";

const { Readable } = require("stream");

const given = JSON.parse(process.argv[2]);
const moleculer = require(given.package);
const { ServiceBroker, Errors } = moleculer;

const broker = new ServiceBroker({
    nodeID: given.nodeID,
    namespace: given.namespace || "",
    transporter: given.url,
    logger: given.log ? true : false,
    heartbeatInterval: 1,
    heartbeatTimeout: 4,
    disableBalancer: given.disableBalancer || false,
    transit: { disableVersionCheck: given.bothVersions || false },
    requestTimeout: 0,
    metadata: { made: "by node" },
});

const heard = [];
const IS_NEW = given.package === "moleculer15";

function hear(ctx) {
    heard.push({
        event: ctx.eventName, payload: ctx.params, type: ctx.eventType, meta: ctx.meta,
        level: ctx.level, requestID: ctx.requestID, caller: ctx.caller, sender: ctx.nodeID,
    });
}

const AsyncFunction = (async () => {}).constructor;

async function collect(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
}

function odd(what) {
    if (what === "half") return { text: "\ud83d" };
    let deep = {};
    for (let i = 0; i < 3000; i++) deep = { deep };
    return deep;
}

async function tried(work, ctx) {
    try {
        return { result: await work(), meta: ctx.meta };
    } catch (error) {
        const { name, message, code, type, data, retryable, nodeID } = error;
        return { error: { name, message, code, type, data, retryable, nodeID }, meta: ctx.meta };
    }
}

broker.createService({
    name: given.service || "js",
    settings: { $secureSettings: ["password"], password: "secret", shown: 1 },
    metadata: { team: "data" },
    actions: {
        echo: ctx => ctx.params,
        who: () => broker.nodeID,
        add: {
            params: { a: "number", b: "number" },
            handler: ctx => ctx.params.a + ctx.params.b,
        },
        rest: { rest: "GET /things/:id", handler: ctx => ctx.params },
        made: { rest: "POST /things", handler(ctx) {
            ctx.meta.$statusCode = 201;
            ctx.meta.$location = "/things/5";
            ctx.meta.$responseHeaders = { "X-Made": "yes" };
            return { id: 5 };
        } },
        optional: { rest: "GET /maybe/:year?", handler: ctx => ctx.params },
        repeated: { rest: "GET /tree/:path*", handler: ctx => ctx.params },
        several: { rest: "GET /most/:path+", handler: ctx => ctx.params },
        pieces: { rest: "GET /files/:name.:kind", handler: ctx => ctx.params },
        unnamed: { rest: { method: "GET" }, handler: () => "unnamed" },
        whole: { rest: { method: "GET", fullPath: "/api/whole/:id" }, handler: ctx => ctx.params },
        outside: { rest: { method: "GET", fullPath: "/outside" }, handler: () => "outside" },
        based: { rest: { method: "GET", path: "/x", basePath: "other" }, handler: () => "based" },
        pattern: { rest: "GET /number/:id(\\d+)", handler: ctx => ctx.params },
        cookies(ctx) {
            ctx.meta.$responseHeaders = { "Set-Cookie": ["a=1", "b=2"], "X-Number": 5, "X-Yes": true };
            return "set";
        },
        oddHeader(ctx) { ctx.meta.$responseHeaders = { "X-Odd": { a: 1 } }; return 1; },
        noHeader(ctx) { ctx.meta.$responseHeaders = { "X-Odd": null }; return 1; },
        framed(ctx) { ctx.meta.$responseHeaders = { "Keep-Alive": "timeout=9" }; return 1; },
        statusMessage(ctx) { ctx.meta.$statusMessage = "Fine"; return 1; },
        described: { responseHeaders: { "X-Described": "yes" }, responseType: "text/csv",
            handler: () => "a,b" },
        failWithHeaders(ctx) {
            ctx.meta.$responseHeaders = { "Retry-After": "7" };
            ctx.meta.$responseType = "text/plain";
            throw new Errors.MoleculerClientError("wait", 429, "WAIT");
        },
        // Answers what it is told: its result and its meta, or an error of a class.
        answer: { rest: ["GET /answer", "POST /answer", "HEAD /answered"], handler(ctx) {
            Object.assign(ctx.meta, ctx.params.meta);
            return ctx.params.value;
        } },
        fails(ctx) {
            const { error, args } = ctx.params;
            throw new Errors[error](...args);
        },
        typedStream(ctx) {
            ctx.meta.$responseType = "text/csv";
            ctx.meta.$responseHeaders = { "Content-Disposition": "attachment; filename=\"a.csv\"" };
            return Readable.from([Buffer.from("a,b\n"), Buffer.from("1,2\n")], { objectMode: false });
        },
        anyMethod: { rest: "/any-method", handler: ctx => ctx.params },
        twice: { rest: [{ method: "GET", path: "/one/:a" }, { method: "PUT", path: "/two/:b" }],
            handler: ctx => ctx.params },
        list: ctx => ["list", ctx.params],
        get: ctx => ["get", ctx.params],
        create: ctx => ["create", ctx.params],
        update: ctx => ["update", ctx.params],
        patch: ctx => ["patch", ctx.params],
        remove: ctx => ["remove", ctx.params],
        typed(ctx) { ctx.meta.$responseType = "text/csv"; return "a,b"; },
        redirected(ctx) { ctx.meta.$statusCode = 302; ctx.meta.$location = "/there"; },
        nothing() {},
        number: () => 5,
        bytes: () => Buffer.from([1, 2, 3]),
        publicOnly: { visibility: "public", handler: () => "public" },
        hidden: { visibility: "protected", handler: () => "hidden" },
        context: ctx => ({
            level: ctx.level, requestID: ctx.requestID, parentID: ctx.parentID, caller: ctx.caller,
            nodeID: ctx.nodeID, meta: ctx.meta, timeout: ctx.options.timeout, headers: ctx.headers,
        }),
        leave(ctx) { ctx.meta.left = "by node"; return true; },
        failLeaving(ctx) {
            ctx.meta.left = "by node";
            throw new Errors.MoleculerClientError("no", 409, "IN_USE", { table: "flights" });
        },
        fail() { throw new Errors.MoleculerRetryableError("later", 503, "BUSY", [1, 2]); },
        plain() { throw new TypeError("a bug"); },
        odd() { const e = new Error("odd"); e.name = "OddError"; e.code = 418; throw e; },
        slow: { handler: ctx => new Promise(r => setTimeout(r, ctx.params.ms)) },
        // Runs what a test wants here: the body of an asynchronous function.
        script: { timeout: 0, handler: ctx => {
            const tools = { broker, moleculer, Errors, Readable, collect, tried };
            const work = () => new AsyncFunction("ctx", "given", "tools", ctx.params.body)(
                ctx, ctx.params.given, tools);
            return ctx.params.bare ? work() : tried(work, ctx);
        } },
        // Makes a call from here, and tells how it went.
        call: { timeout: 0, handler: ctx => tried(
            () => ctx.call(ctx.params.action, ctx.params.params, ctx.params.options || {}), ctx) },
        many: { timeout: 0, handler: async ctx => {
            const calls = [];
            for (let i = 0; i < ctx.params.count; i++)
                calls.push(ctx.call(ctx.params.action, { i }));
            return Promise.all(calls);
        } },
        // n steps down: here, there, here ...
        chain: ctx => ctx.params.n === 0 ? [ctx.level]
            : ctx.call(ctx.params.other, { n: ctx.params.n - 1 }).then(below => [ctx.level, ...below]),
        emit: ctx => ctx.emit(ctx.params.event, ctx.params.payload, ctx.params.options),
        broadcast: ctx => ctx.broadcast(ctx.params.event, ctx.params.payload, ctx.params.options),
        heard: () => heard.splice(0),
        big: ctx => "x".repeat(ctx.params.bytes),
        numbers: ctx => Readable.from((function* () {
            for (let i = 0; i < ctx.params.count; i++) yield Buffer.from(`${i}\n`);
        })(), { objectMode: false }),
        rows: ctx => Readable.from((function* () {
            for (let i = 0; i < ctx.params.count; i++) yield { i };
        })()),
        breaks: () => Readable.from((function* () {
            yield Buffer.from("one");
            throw new Errors.MoleculerError("broken", 500, "BROKEN", { at: 1 });
        })(), { objectMode: false }),
        upload: async ctx => {
            const stream = IS_NEW ? ctx.stream : ctx.params;
            const chunks = await collect(stream);
            return { text: Buffer.concat(chunks.map(c => Buffer.from(c))).toString(), meta: ctx.meta };
        },
        uploadTo: { timeout: 0, handler: ctx => {
            const stream = Readable.from(ctx.params.chunks.map(c => Buffer.from(c)), { objectMode: false });
            if (IS_NEW) return ctx.call(ctx.params.action, {}, { stream, meta: ctx.params.meta });
            return ctx.call(ctx.params.action, stream, { meta: ctx.params.meta });
        } },
        download: { timeout: 0, handler: ctx => tried(async () => {
            const stream = await ctx.call(ctx.params.action, ctx.params.params);
            const chunks = await collect(stream);
            return chunks.map(c => Buffer.isBuffer(c) ? c.toString() : c);
        }, ctx) },
        // An emoji cut in half, and a nesting that no reader of JSON takes, in params and results.
        sendOdd: { timeout: 0, handler: ctx => tried(
            () => ctx.call(ctx.params.action, odd(ctx.params.what)), ctx) },
        giveOdd: ctx => odd(ctx.params.what),
        // Reads a stream, and tells how many bytes came.
        weigh: { timeout: 0, handler: ctx => tried(async () => {
            let bytes = 0;
            for await (const chunk of await ctx.call(ctx.params.action, ctx.params.params))
                bytes += chunk.length;
            return bytes;
        }, ctx) },
        large: ctx => Readable.from((function* () {
            for (let i = 0; i < ctx.params.count; i++) yield Buffer.alloc(65536, 1);
        })(), { objectMode: false }),
        traced: ctx => ctx.tracing,
        reversed: ctx => Buffer.from(ctx.params.data.data).reverse(),
        sendBytes: { timeout: 0, handler: async ctx => {
            const answer = await ctx.call(ctx.params.action, { data: Buffer.from([1, 2, 255]) });
            return [...Buffer.from(answer)];
        } },
        matches: ctx => ctx.params.pairs.map(([name, pattern]) => moleculer.Utils.match(name, pattern)),
        ping: ctx => broker.ping(ctx.params.nodeID),
        nodes: () => broker.registry.getNodeList({ onlyAvailable: true }).map(n => n.id),
        services: () => broker.registry.getServiceList({ withActions: true, withEvents: true })
            .map(s => ({ ...s, nodes: undefined })),
    },
    events: {
        "thing.*": { handler: hear },
        "deep.**": { group: "others", handler: hear },
        "grouped": { group: "js-group", handler: hear },
        "shared": { group: "shared-group", handler: hear },
        "$node.disconnected": { handler: hear },
        "$node.connected": { handler: hear },
    },
});

broker.start().then(() => console.log("ready"));
process.on("SIGTERM", () => broker.stop().then(() => process.exit(0)));
