"""The models that a site keeps: numbered versions, and aliases such as champion that say which one is used."""
