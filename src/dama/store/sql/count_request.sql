-- count_request: one more request of a client, in the window that is now.
-- In:    client text; seconds double: how long a window is
-- Out:   how many there were in it, this one too; seconds until it ends, at least 0
-- Locks: the row of the client
INSERT INTO _data_manager_admin.request_count AS c (client, ends, count)
VALUES (%(client)s,
        to_timestamp((floor(extract(epoch FROM clock_timestamp()) / %(seconds)s::double precision) + 1)
                     * %(seconds)s::double precision),
        1)
ON CONFLICT (client, ends) DO UPDATE SET count = c.count + 1
RETURNING c.count, greatest(extract(epoch FROM c.ends - clock_timestamp())::double precision, 0)
