"""Models judged while they run: scores of live motion, promises kept or not, candidates in the shadow."""
