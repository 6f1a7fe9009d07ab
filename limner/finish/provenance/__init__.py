"""What a saved picture says of its origin: XMP, an invisible mark, a label, a signature.

All of it can be removed. What is found is evidence; that nothing is found proves nothing.
"""
