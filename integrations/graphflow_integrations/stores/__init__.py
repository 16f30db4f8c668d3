"""`graphflow threads|history|show|export|import|copy|report|check|delete`: what lies in a store.

command     the commands' arguments, and what is done about errors
looking     threads, history, show, report, check
moving      export, import, copy, delete
shapes      stored values as plain data, those of unknown classes included
printing    tables, JSON, progress
"""
