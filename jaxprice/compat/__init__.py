"""Views of jaxprice's markets for other libraries: `compat.gymnax` and `compat.gymnasium`, each with an extra of its name.

The core imports neither; import the view that is wanted: `from jaxprice.compat import gymnax`.
"""
