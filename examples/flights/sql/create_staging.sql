-- create_staging: the tables of one run, empty.
-- In:    the search path starts with the run's staging schema
-- Out:   flights (rows as the source has them) and the four small tables
-- Locks: none that others see: the schema belongs to one run
--
-- Types keep what the source has. Times of day stay the source's local hhmm numbers (2400 occurs:
-- a flight that left at midnight), because they have no date of their own: a delayed flight leaves
-- the next day. time_hour is the one real instant, so it is timestamptz. Measurements are double
-- precision, which PostgreSQL prints back digit by digit as the source wrote them.
--
-- Not UNLOGGED, though it would be faster: after a crash of the server an unlogged table is empty,
-- while the events still say that its months are loaded.

CREATE TABLE flights (
    year           smallint    NOT NULL,
    month          smallint    NOT NULL,
    day            smallint    NOT NULL,
    dep_time       smallint,
    sched_dep_time smallint    NOT NULL,
    dep_delay      smallint,
    arr_time       smallint,
    sched_arr_time smallint    NOT NULL,
    arr_delay      smallint,
    carrier        text        NOT NULL,
    flight         integer     NOT NULL,
    tailnum        text,
    origin         text        NOT NULL,
    dest           text        NOT NULL,
    air_time       smallint,
    distance       integer     NOT NULL,
    hour           smallint    NOT NULL,
    minute         smallint    NOT NULL,
    time_hour      timestamptz NOT NULL
);

CREATE TABLE weather (
    origin     text             NOT NULL,
    year       smallint         NOT NULL,
    month      smallint         NOT NULL,
    day        smallint         NOT NULL,
    hour       smallint         NOT NULL,
    temp       double precision,
    dewp       double precision,
    humid      double precision,
    wind_dir   smallint,
    wind_speed double precision,
    wind_gust  double precision,
    precip     double precision,
    pressure   double precision,
    visib      double precision,
    time_hour  timestamptz      NOT NULL,
    PRIMARY KEY (origin, time_hour)
);

CREATE TABLE planes (
    tailnum      text     PRIMARY KEY,
    year         smallint,
    type         text,
    manufacturer text,
    model        text,
    engines      smallint,
    seats        smallint,
    speed        smallint,
    engine       text
);

CREATE TABLE airlines (
    carrier text PRIMARY KEY,
    name    text NOT NULL
);

CREATE TABLE airports (
    faa   text             PRIMARY KEY,
    name  text             NOT NULL,
    lat   double precision NOT NULL,
    lon   double precision NOT NULL,
    alt   integer          NOT NULL,
    tz    smallint         NOT NULL,
    dst   text             NOT NULL,
    tzone text
);
