"""kvae explore: a page on which a latent space is played with, through signatures alone.

`answers` computes, `maps` lays rows out, `page` shows them, with Gradio.
"""
