using System.Collections;
using System.Collections.Generic;
using System.Net;
using System.Text;

namespace SecretBridge.Pode;

/// <summary>Query strings and forms: keys without case, repeated ones joined by commas, a bare word under `''`.</summary>
public static class FormText
{
    /// <summary>A text as a table. Time and room grow with the text's length alone.</summary>
    public static Hashtable Parse(string text)
    {
        JoinedTable table = new();
        foreach (string pair in text.Split('&'))
        {
            if (pair.Length == 0)
            {
                continue;
            }
            int cut = pair.IndexOf('=');
            table.Add(cut < 0 ? "" : WebUtility.UrlDecode(pair[..cut]), WebUtility.UrlDecode(cut < 0 ? pair : pair[(cut + 1)..]));
        }
        return table.Finish();
    }
}

/// <summary>A table whose repeated texts are joined by commas, each name in one go.</summary>
internal sealed class JoinedTable
{
    private readonly Hashtable _table;
    private readonly List<(string Name, StringBuilder Text)> _long = [];

    internal JoinedTable(Hashtable? table = null) => _table = table ?? Values.NewTable();

    internal void Add(string name, string value)
    {
        switch (_table[name])
        {
            case null:
                _table[name] = value;
                break;
            case StringBuilder text:
                text.Append(',').Append(value);
                break;
            case object first:
                StringBuilder joined = new StringBuilder(PlainJson.Text(first)).Append(',').Append(value);
                _table[name] = joined;
                _long.Add((name, joined));
                break;
        }
    }

    internal Hashtable Finish()
    {
        foreach ((string name, StringBuilder text) in _long)
        {
            _table[name] = text.ToString();
        }
        _long.Clear();
        return _table;
    }
}
