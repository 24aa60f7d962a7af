-- 0033: the count of the places of a queue says more than a number, and rates are counted elsewhere. A function cannot
-- be replaced by one that gives something else.

DROP FUNCTION IF EXISTS _data_manager_admin.allowed_starts(text, int);
DROP FUNCTION IF EXISTS _data_manager_admin.spend_allowance(text, int);
