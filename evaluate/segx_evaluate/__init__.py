"""Numbers over data sets, reports side by side, and predicted files, all through the runtime that ships.

Never imports torch: what is measured is the exported file, not the network it came from.
"""
