"""What every part of segx shares: the card, errors, pictures, data sets, and the one Predictor.

Never imports torch or a web server, so that a serving image needs neither.
"""
