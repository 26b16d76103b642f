-- The name of the source whose records a key brings, part of their identity: keys change, it does not. Where none is given, the key's name.
alter table api_keys add column source text;
