-- 0026: where the acts of people are kept that belong to no context of a task. Disposable: without a
-- row the next act begins another context.

CREATE TABLE _data_manager_admin.act_context (
  year        int PRIMARY KEY,
  context_id  bigint NOT NULL
);

COMMENT ON TABLE _data_manager_admin.act_context IS
  'The context of each year whose events are what people did to queues, schedules, tokens and subscriptions.';
