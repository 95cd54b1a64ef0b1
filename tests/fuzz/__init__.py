"""Parsers and machines fed with what nobody would send: none crashes, none hangs, none lets an injection through."""
