-- said: what an event e says of its time.
CASE jsonb_typeof(e.meta) WHEN 'object' THEN coalesce(e.meta ->> 'timestamp', e.meta ->> 'created_at') END
