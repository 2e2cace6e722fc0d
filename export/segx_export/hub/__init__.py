"""Pretrained networks of public hubs as segx files. Each hub's library is imported only where it is asked for."""
